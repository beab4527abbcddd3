"""How the model was trained."""
