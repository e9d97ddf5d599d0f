"""The store over HTTP: one module per resource."""
