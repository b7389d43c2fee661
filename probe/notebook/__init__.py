"""How maps and gold show themselves in a notebook."""
