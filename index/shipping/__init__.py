"""How snapshots travel: stores that keep them, and the objects they are made of."""
