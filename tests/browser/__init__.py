"""The product in a browser: fixtures are in conftest.py, README.md here says how to use them."""
