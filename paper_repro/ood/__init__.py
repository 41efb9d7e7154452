"""Does uncertainty tell that data is of another kind?"""
