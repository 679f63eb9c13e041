"""Who may use a server: tokens and roles, browsers that have signed in, requests that are ours."""
