"""The site server: a vault's site behind HTTPS, which decides for itself what it takes and lets nothing go."""
