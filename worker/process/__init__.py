"""The process around the loop: stop requests, retries, watchdog, memory, logging, record outcomes."""
