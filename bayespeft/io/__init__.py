"""What is written and read: saved posteriors, LoRAs in peft's format, merged networks, repositories on the hub."""
