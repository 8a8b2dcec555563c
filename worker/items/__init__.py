"""Items in service: the follower of the items topic, and its effect on the releases in service."""
