"""A neural network by hand: forward, backward and a step of Adam, then the same in one line.

The example checks backward against central differences, trains with a loop of a few lines, and compares
NeuralNetwork, a scikit-learn regressor made of the same parts, with a linear regression.
"""

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_score

from numpy_neural_mf.nn import Activation, Adam, Dense, NeuralNetwork, Sequential, check_gradients, mse, tanh

X, y = load_diabetes(return_X_y=True)  # 442 patients, 10 measurements each; how the disease progressed
X = (X - X.mean(axis=0)) / X.std(axis=0)
y = (y - y.mean()) / y.std()

# Two layers. float64, so that derivatives can be checked to many digits.
rng = np.random.default_rng(0)
network = Sequential(
    Dense(10, 16, rng, dtype=np.float64),
    Activation(tanh),
    Dense(16, 1, rng, dtype=np.float64),
)

for name, error in check_gradients(network, X[:20]).items():
    print(f"backward against central differences, {name:8s}: relative error {error:.0e}")

optimizer = Adam(learning_rate=0.01)
parameters = {name: parameter.value for name, parameter in network.parameters.items()}
for step in range(101):
    prediction, backward = network.forward(X)  # (442, 1), and the backward function
    loss, gradient = mse(prediction, y[:, None])  # a number, and dL/dprediction (442, 1)
    backward(gradient)  # adds to the gradient of every parameter
    optimizer.step(parameters, {name: p.pop_grad() for name, p in network.parameters.items()})
    if step % 25 == 0:
        print(f"step {step:3d}: mean squared error {loss:.3f}")

# To generalise to unseen data, a network of this size needs weight decay and few epochs.
model = NeuralNetwork(
    (16,), activation="tanh", learning_rate=0.01, weight_decay=1.0, epochs=20, random_state=0
)
for name, regressor in (("LinearRegression", LinearRegression()), ("NeuralNetwork", model)):
    scores = cross_val_score(regressor, X, y, cv=5)
    print(f"{name:16s}: R² {scores.mean():.3f} on five folds")
