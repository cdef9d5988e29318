"""Published and measured rows, and the tables and pages made of them."""
