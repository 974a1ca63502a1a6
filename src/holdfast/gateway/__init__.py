"""The gateway: stands before a platform, passes through while it answers, and stands in while it does not."""
