"""Tables, figures and pages: the only printing and the only drawing."""

__all__: list[str] = []
