"""What connectors to SQL databases share and no engine decides. Knows no connector and no driver."""
