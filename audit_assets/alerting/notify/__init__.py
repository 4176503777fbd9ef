"""From rule results to queued notifications: state transitions, grouping, and the values that a message shows."""
