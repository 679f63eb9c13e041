"""Plans that go on with an earlier network."""
