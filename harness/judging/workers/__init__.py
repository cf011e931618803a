"""Measuring processes: started, watched, their records collected, resumed."""
