"""Front door for programs: this product's tools over the Model Context Protocol."""
