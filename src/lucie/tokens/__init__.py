"""Token files: documents as numbers, apart from the held-out ones, and the order in which a training reads them."""
