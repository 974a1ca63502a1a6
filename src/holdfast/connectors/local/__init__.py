"""Between processes of one host: datagrams over sockets that are files."""
