"""Harmful names that a source may contain and that a page must show as plain text."""

MARKUP = "<img src=x onerror=window.hacked=1>"
FORMULA = "=HYPERLINK(window.hacked)"
LONG = "long_name_" + "x" * 290
RIGHT_TO_LEFT = "invoice\u202egpj.exe"
QUOTED = 'it\'s "so"\nsaid'
HARMFUL = (MARKUP, FORMULA, LONG, RIGHT_TO_LEFT, QUOTED)
