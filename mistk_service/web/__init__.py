"""HTTP building blocks that both products share: compiled contracts, the gate, sockets. Knows neither of them."""
