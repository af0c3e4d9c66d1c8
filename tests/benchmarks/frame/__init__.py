"""What every benchmark is made of: rounds, ratios, results, the page."""
