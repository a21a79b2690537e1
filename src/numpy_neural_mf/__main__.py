"""python -m numpy_neural_mf"""

from .cli import main

main()
