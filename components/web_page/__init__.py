"""What the project's pages share: their look, their templates' rules, pictures inside them."""
