"""A user's own training: ask its environment for an audit, judge what comes back, advise."""
