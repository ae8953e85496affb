"""The article's graph, built as in the article. Tests and benchmarks compare this project's graph with it.

Where this project differs from the article, this module does what the article does: the style image's activations are
constants of the graph, channels are unrolled to rows, each assigned image is a constant, and each cost is computed in
its own `session.run`.
"""


class ArticleGraph:
    """The article's costs and training step in a session of the default graph.

    Parameters
    ----------
    tf : module
        TensorFlow 1's namespace.
    session : tf.Session
        A session of the default graph.
    create_output_tensors : callable
        Takes the variable and returns the content tensor and the list of style tensors.
    images : tuple of ndarray
        Content, style and start, float32 (1, h, w, 3).
    settings : Settings
        Coefficients, alpha, beta and learning rate.
    """

    def __init__(self, tf, session, create_output_tensors, images, settings):
        content_img, style_img, start_img = images
        self.session = session
        self.input_var = tf.Variable(content_img, dtype=tf.float32, name="input_var")
        x_content, x_styles = create_output_tensors(self.input_var)
        optimizer = tf.train.AdamOptimizer(settings.learning_rate)
        session.run(tf.variables_initializer([self.input_var]))
        a_content = session.run(x_content)
        session.run(self.input_var.assign(style_img))
        a_styles = session.run(x_styles)

        _, n_h, n_w, n_c = a_content.shape
        j_content = (1 / (4 * n_h * n_w * n_c)) * tf.reduce_sum(tf.square(tf.subtract(a_content, x_content)))
        j_style = 0
        for a_s, a_g, coefficient in zip(a_styles, x_styles, settings.style_layer_coefficients):
            _, n_h, n_w, n_c = a_s.shape
            grams = []
            for activations in (a_s, a_g):
                rows = tf.reshape(tf.transpose(activations), [n_c, n_h * n_w])
                grams.append(tf.matmul(rows, tf.transpose(rows)))
            scale = 1 / (4 * n_c**2 * (n_w * n_h) ** 2)
            j_style += scale * tf.reduce_sum(tf.square(tf.subtract(*grams))) * coefficient
        j_total = settings.alpha * j_content + settings.beta * j_style
        self._costs = j_content, j_style, j_total

        session.run(self.input_var.assign(start_img))
        self._train_op = optimizer.minimize(j_total, var_list=[self.input_var])
        session.run(tf.variables_initializer(optimizer.variables()))

    def step(self):
        """Run one training step."""
        self.session.run(self._train_op)

    def costs(self):
        """Return content, style and total cost. Each cost needs its own forward pass."""
        return tuple(float(self.session.run(cost)) for cost in self._costs)
