"""Filters: each measures one thing and says why a clip is dropped. A filter is a frozen dataclass
whose fields are its thresholds; called with what it looks at, it returns a `Check`."""
