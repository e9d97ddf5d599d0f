"""What SQLite holds: models, migrations, and one function per question or change."""
