"""Two stacks' records side by side: what moved, at which rung, why, and what is known of it."""
