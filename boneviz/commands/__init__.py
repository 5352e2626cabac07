"""The commands of the shell, by what they are for; `boneviz.cli` puts them together."""

__all__: list[str] = []
