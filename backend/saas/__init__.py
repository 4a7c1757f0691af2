"""What Atom charges for: tiers, usage events, metering and billing."""
