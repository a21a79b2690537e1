"""Tables, figures and pages of HTML: the only room that prints and draws."""

__all__: list[str] = []
