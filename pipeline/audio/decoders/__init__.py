"""Files to blocks of samples: one decoder for each library, and the choice between them."""
