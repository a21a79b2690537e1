"""Tables, figures and pages of HTML: the only package that prints and draws."""

__all__: list[str] = []
