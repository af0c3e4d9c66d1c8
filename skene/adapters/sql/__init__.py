"""What the SQL stores share: tables, migrations, and every verb that is not called for each request."""
