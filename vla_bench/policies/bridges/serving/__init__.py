"""Our policies for others: servers in openpi's and vla-eval's protocol."""
