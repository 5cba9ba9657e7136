"""What one worker keeps an eye on for operators, whichever worker they have asked."""
