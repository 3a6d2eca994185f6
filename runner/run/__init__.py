"""The life of one run: opening, messages, records, rollback, rescue and the final test."""
