"""Testing trained networks as the papers test them."""
