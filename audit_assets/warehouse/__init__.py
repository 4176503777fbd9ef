"""Where rows live: the warehouse protocol, its engines, and the published snapshot readers use."""
