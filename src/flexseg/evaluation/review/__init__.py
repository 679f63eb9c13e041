"""`flexseg review`: which annotations look wrong."""
