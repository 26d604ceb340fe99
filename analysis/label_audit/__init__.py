"""Which labels are wrong: suspected errors by confident learning, and how many there can be."""
