"""Living clusters: groups of customers that keep who they are while they move, found and named as examples come."""
