"""What policies say and do, before anybody runs them: check, explain, diff, replay. Nothing is charged or changed."""
