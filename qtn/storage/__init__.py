"""How few bytes a model needs: integers, zeros, and files."""
