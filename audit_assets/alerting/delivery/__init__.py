"""The outbox and the processes around it: deliverer, silences, reminders, acknowledgements, watchdog."""
