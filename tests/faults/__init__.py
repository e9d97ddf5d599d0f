"""What must hold when something breaks: real servers whose disk, database, clock or life fails."""
