"""The application's engines, pointed at a clone. Nothing in here knows pytest."""
