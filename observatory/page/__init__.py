"""The page: what is shown to who looks with a browser. Its files, and the HTML that loads them."""
