"""The model store: catalogue, download, verification, archives."""
