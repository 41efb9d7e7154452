"""Published triples of adapter, guide and settings: one method, one short file, with its reference."""
